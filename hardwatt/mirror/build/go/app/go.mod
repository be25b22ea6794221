module hardwatt.dev/mirror/app

go 1.26.0
