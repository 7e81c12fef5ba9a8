"""Flower's configuration, which is Python: ask for a login before the metrics too, which Flower shows to anybody.

Only /healthcheck stays open.
"""

from flower.views.monitor import Metrics
from tornado.web import authenticated

Metrics.get = authenticated(Metrics.get)
