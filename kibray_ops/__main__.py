"""`python -m kibray_ops` is `kibray-ops`."""

from kibray_ops.cli.app import main

if __name__ == "__main__":
    main()
