"""Measurements of the matching engine: ``make bench``. Nothing else imports this."""
