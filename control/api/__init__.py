"""The REST API (docs/api.md): views say what they promise in decorators and do it in a few lines."""
