"""The options file, in parts; hospproxy.config is the entrance."""
