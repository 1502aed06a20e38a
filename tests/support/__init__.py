"""Shared by tests of several folders. Each folder's own fakes are in its ``harness.py`` or named after what they fake.

| look in | for |
|---|---|
| ``clocks`` | a clock that moves, one that stands still, the real one shifted |
| ``memory_log`` | the event log in memory, as far as a source may know it |
| ``loopback_server`` | an HTTP server for a fake site or cloud |
| ``fault_proxy``, ``proxy_faults``, ``proxy_responses`` | a network that lies |
| ``crashing_files`` | a disk that loses what was not synced |
| ``real_servers``, ``mqtt_broker``, ``influx_server`` | real MongoDB, Nightscout, mosquitto and InfluxDB |
| ``site_comparison``, ``dose_comparison`` | a site's documents against what the simulated pump did |
| ``binary_records`` | records of the binary history log |
| ``terminal`` | answers typed at a terminal |
| ``loopback_only`` | no test opens a connection to another machine |
"""
