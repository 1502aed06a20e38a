"""The web services of the older t:connect: login, token, requests."""
