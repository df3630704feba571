"""What is done to runs and their files, and what they are fed with: `python -m tests.reliability` counts how often promises held."""
