"""Who may see the pages: secret, cookies, view link, and protection from other web sites."""
