"""The Nightscout site's HTTP API: address, client, document format, search for existing copies."""
