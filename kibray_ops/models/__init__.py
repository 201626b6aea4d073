"""Tables: Kibray's, only the columns that we use, and our own."""
