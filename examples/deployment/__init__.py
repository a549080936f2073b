"""Service deployment: many services get a new version, or all of them keep the old one."""
