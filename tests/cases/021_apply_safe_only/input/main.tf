resource "aws_s3_bucket" "data" {
  bucket = "data" # grün
  acl    = "public-read"
}

resource "aws_instance" "web" {
  ami = "ami-1"
}
