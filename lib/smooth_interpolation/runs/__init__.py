"""Runs, from settings to a record: on one processor, all GPUs of a host, or a cluster."""
