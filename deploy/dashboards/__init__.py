"""Grafana's dashboards as code: tables of panels, made into JSON by Grafana's own SDK.

`python -m deploy.dashboards` writes deploy/monitoring/dashboards (`make docs` does); `--check` says what is stale.
"""
