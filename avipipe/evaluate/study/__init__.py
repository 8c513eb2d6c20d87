"""Studies with people: pairs of edits on a page, blind, and what their answers say."""
