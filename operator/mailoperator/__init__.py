"""The operator: turns a `MailService` resource into the Deployments, Services and certificates of a mail site.

`schema` and `crd` say what a MailService may hold (from the table of options), `spec` reads one, `children` builds the
objects that it stands for, `pki` its certificates, `reconcile` brings the cluster there, `status` says how far it is.
"""
