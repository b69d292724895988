"""
Numbers for a monitoring system.

Counting must cost next to nothing and load nothing, so a worker counts in plain dictionaries; the Prometheus
client library writes them down when somebody asks.
"""
