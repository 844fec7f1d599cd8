"""What a person sees in a terminal: reports, tables, live views."""
