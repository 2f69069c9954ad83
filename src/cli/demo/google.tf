resource "google_storage_bucket" "logs" {
  name     = "shop-logs"
  location = "EU"

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }
}

resource "google_storage_bucket" "exports" {
  name     = "shop-exports"
  location = "EU"

  versioning {
    enabled = false
  }

  logging {
    log_bucket = google_storage_bucket.logs.name
  }
}

resource "google_dns_managed_zone" "shop" {
  name     = "shop"
  dns_name = "shop.test."
}
