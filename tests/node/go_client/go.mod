module helixstream/go-client-check

go 1.24.0

require helixstream/client v0.0.0

replace helixstream/client => ../../../clients/go
