"""Between the command line and the server: finds the application, starts an event loop, passes signals on."""
