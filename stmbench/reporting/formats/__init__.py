"""A report written in a format: html, pdf, latex, markdown."""
