"""Settings of gunicorn that are no options of every release that is tried."""

control_socket_disable = True  # from 25.1 on there is one, in the working directory; older ones pass this line over
