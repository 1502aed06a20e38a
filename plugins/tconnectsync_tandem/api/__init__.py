"""Tandem Source's web API: login, tokens, requests, responses, list of pumps."""
