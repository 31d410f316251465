"""State: alerts, their groups, silences and windows, as Alertmanager has them; kept in one SQLite file."""
