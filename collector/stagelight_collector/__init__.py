"""The collector: receives telemetry, keeps it, and shows it while it happens."""
