resource "azurerm_resource_group" "shop" {
  name     = "shop"
  location = "westeurope"
}

resource "azurerm_redis_cache" "sessions" {
  name                = "shop-sessions"
  location            = azurerm_resource_group.shop.location
  resource_group_name = azurerm_resource_group.shop.name
  capacity            = 1
  family              = "C"
  sku_name            = "Standard"

  # Opened for a printer in the back office.
  non_ssl_port_enabled          = true
  minimum_tls_version           = "1.0"
  public_network_access_enabled = true
}
