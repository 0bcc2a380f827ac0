"""The conflict report: one statement, a straightforward loop over chunks, and ours."""
