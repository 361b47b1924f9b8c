"""Problems, prompts, the judge, and the forking-token dataset."""
