"""Job sites: which are active, and who manages them."""

from datetime import date

from sqlalchemy import ColumnElement, Subquery, and_, or_, select, union

from kibray_ops.catalog import Catalog, table_of
from kibray_ops.models.kibray.projects import ClientProjectAccess, Project, ProjectManagerAssignment

PROJECTS, ACCESS = table_of(Project), table_of(ClientProjectAccess)
ASSIGNMENTS = table_of(ProjectManagerAssignment)
EXTERNAL_MANAGER = "external_pm"
"""The role of an access that makes its user a manager of the project."""


def is_active(catalog: Catalog, on: date) -> ColumnElement[bool]:
    """Return the condition for an active project: not ended before a date, nor archived where Kibray knows of that."""
    goes_on = or_(PROJECTS.c.end_date.is_(None), PROJECTS.c.end_date >= on)
    if not catalog.has(PROJECTS.name, "is_archived"):
        return goes_on
    return and_(goes_on, ~catalog.optional(Project, "is_archived"))


def managers(catalog: Catalog) -> Subquery:
    """Return who manages which project, each pair once: `project_id` and `user_id`.

    An external manager's access has to be active and to want notifications, in the versions of Kibray that note that;
    later versions also have assignments.
    """
    access = select(ACCESS.c.project_id, ACCESS.c.user_id).where(ACCESS.c.role == EXTERNAL_MANAGER)
    for wanted in ("is_active", "receive_notifications"):
        if catalog.has(ACCESS.name, wanted):
            access = access.where(catalog.optional(ClientProjectAccess, wanted))
    if not catalog.has(ASSIGNMENTS.name):
        return access.subquery("manager")
    return union(access, select(ASSIGNMENTS.c.project_id, ASSIGNMENTS.c.pm_id)).subquery("manager")
