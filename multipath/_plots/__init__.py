"""Drawing: functions that take arrays and path tables and return figures."""
