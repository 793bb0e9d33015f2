# Turns a cloud-init network-config (version 2, YAML or one-line lists) into lines that init reads. It knows only what the
# lab uses: match by MAC address or by name, static addresses, a default gateway, dhcp4.
function flush_nic(   i) {
  if (id == "") return
  if (mac != "") print "mac", tolower(mac); else print "name", (match_name != "" ? match_name : id)
  for (i = 1; i <= count; i++) print "address", list[i]
  if (dhcp) print "dhcp"
  if (gateway != "") print "gateway", gateway
  id = ""; mac = ""; match_name = ""; gateway = ""; dhcp = 0; count = 0
}
{
  sub(/[ \t]*#.*$/, ""); gsub(/["']/, "")
  if ($0 ~ /^[ \t]*$/) next
  match($0, /^ */); indent = RLENGTH
  line = substr($0, indent + 1)
}
line ~ /^ethernets:/ { base = indent; inside = 1; child = -1; next }
inside && indent <= base { inside = 0; flush_nic() }
!inside { next }
child < 0 { child = indent }
indent == child { flush_nic(); id = line; sub(/:.*$/, "", id); section = ""; next }
line ~ /^macaddress:/ { mac = $2; next }
line ~ /^name:/ { match_name = $2; next }
line ~ /^gateway4:/ { gateway = $2; next }
line ~ /^dhcp4: *(true|yes)/ { dhcp = 1; next }
line ~ /^addresses: *\[/ {
  sub(/^addresses: *\[/, "", line); sub(/\].*$/, "", line)
  n = split(line, parts, /[ ,]+/)
  if (section != "nameservers") for (i = 1; i <= n; i++) if (parts[i] != "") list[++count] = parts[i]
  next
}
line ~ /^addresses:/ { if (section != "nameservers") section = "addresses"; next }
line ~ /^(nameservers|routes|match):/ { section = line; sub(/:.*$/, "", section); if (section == "routes") default_route = 0; next }
section == "addresses" && line ~ /^- / { list[++count] = $2; next }
section == "routes" && line ~ /to: *(default|0\.0\.0\.0\/0)/ { default_route = 1 }
section == "routes" && line ~ /via:/ { sub(/^.*via: */, "", line); sub(/[ ,}].*$/, "", line); if (default_route || gateway == "") gateway = line }
END { flush_nic() }
