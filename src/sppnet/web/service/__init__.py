"""The service: models that answer over HTTP, within limits.

``app`` is what is asked and answered, ``uploads`` takes images in, ``workers`` keeps the processes that compute
(``worker`` runs in them, ``answers`` is what they do), ``connections`` guards the sockets.
"""
