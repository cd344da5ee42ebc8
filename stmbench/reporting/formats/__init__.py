"""A report written in a format: html, pdf, latex, markdown; svg, a figure of the first two."""
