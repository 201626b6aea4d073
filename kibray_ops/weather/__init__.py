"""Web services that know the weather and where an address is: an HTTP client in, frozen values out, no database."""
