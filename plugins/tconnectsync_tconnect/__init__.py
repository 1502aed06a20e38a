"""The t:connect website's "Therapy Timeline" CSV export, read into the events that every other source makes too.

Tandem switched the website off; the files that people saved from it stay readable.
"""
