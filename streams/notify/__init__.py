"""Notifications: alerts to mail, SMS, chat and webhooks."""
