module helixstream/client

go 1.24.0
