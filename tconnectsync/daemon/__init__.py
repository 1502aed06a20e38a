"""The daemon: its loop, control socket and systemd notices; runs a command here or hands it over."""
