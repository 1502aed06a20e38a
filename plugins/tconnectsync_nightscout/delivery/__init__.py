"""The Nightscout receiver: sends, compares and replaces documents, and checks the site."""
