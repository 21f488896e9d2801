"""The page of a workspace's notifications: rules, channels, deliveries."""
