"""The Modoboa extension: links mail domains to hostnames and keeps tenants apart."""
