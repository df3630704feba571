"""Where runs are done: processes of this machine, or Ray."""
