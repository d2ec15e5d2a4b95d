"""From what is given as the application to what is served."""
