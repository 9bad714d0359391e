"""The REST API (contract §4): views say what they promise in decorators and do it in a few lines."""
