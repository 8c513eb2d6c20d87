"""Files of every kind whose pictures carry numbers and whose sound says when it is, and a judge."""
