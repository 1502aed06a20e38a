"""The interfaces that a plugin implements, their options, the plugin manager and the HTTP client."""
