"""What the pages of the book share."""
