-- Wireshark and tshark: what a Steadfast message says, field by field (EtherType 0x88b5, version 1).
--
--   tshark -X lua_script:steadfast.lua -r run.pcapng -Y 'steadfast.kind == 3'
--
-- The layout is that of runtime/core/src/wire/codec.rs. The tag is shown, not verified: that needs
-- the cluster's secret, and a capture is read where there is none. What is appended by a later
-- version 1 sender is shown as bytes. The limit: lists that contradict their own length are marked,
-- and what follows them is left alone.

local steadfast = Proto("steadfast", "Steadfast high availability")

local kinds = {
  [1] = "ADVERT", [2] = "ANSWER", [3] = "CLAIM", [4] = "DECLINE", [5] = "LET-GO", [6] = "OFFER",
  [7] = "PREPARE", [8] = "PROBE", [9] = "READY", [10] = "RELEASED", [11] = "REQUEST",
}
local marks = { [1] = "standby", [2] = "active", [3] = "offering" }
local configured = { [1] = "active", [2] = "any", [3] = "off", [4] = "standby" }
local effective = {
  [1] = "active", [2] = "demoting", [3] = "failed", [4] = "off", [5] = "pacified",
  [6] = "promoting", [7] = "standby", [8] = "starting",
}

local f = {
  version = ProtoField.uint8("steadfast.version", "Version"),
  mark = ProtoField.uint8("steadfast.mark", "Lease mark", base.DEC, marks),
  kind = ProtoField.uint8("steadfast.kind", "Kind", base.DEC, kinds),
  key = ProtoField.uint8("steadfast.key", "Key id"),
  length = ProtoField.uint16("steadfast.length", "Length"),
  groups = ProtoField.uint32("steadfast.groups", "Active groups", base.HEX),
  cluster = ProtoField.bytes("steadfast.cluster", "Cluster"),
  router = ProtoField.uint8("steadfast.router", "Virtual router"),
  node = ProtoField.uint8("steadfast.node", "Sender"),
  path = ProtoField.uint8("steadfast.path", "Path"),
  priority = ProtoField.uint8("steadfast.priority", "Priority"),
  fixed = ProtoField.uint16("steadfast.fixed", "Fixed length"),
  configured = ProtoField.uint8("steadfast.configured", "Configured role", base.DEC, configured),
  role = ProtoField.uint8("steadfast.role", "Effective role", base.DEC, effective),
  boot = ProtoField.uint64("steadfast.boot", "Boot id", base.HEX),
  counter = ProtoField.uint64("steadfast.counter", "Counter"),
  epoch = ProtoField.uint64("steadfast.epoch", "Epoch"),
  handover = ProtoField.uint64("steadfast.handover", "Hand-over", base.HEX),
  ports_down = ProtoField.uint32("steadfast.ports_down", "Ports down", base.HEX),
  interval = ProtoField.uint32("steadfast.interval", "Interval (us)"),
  lease = ProtoField.uint32("steadfast.lease", "Lease (us)"),
  flags = ProtoField.uint16("steadfast.flags", "Flags", base.HEX),
  health = ProtoField.uint8("steadfast.health", "Health class"),
  config = ProtoField.uint64("steadfast.digest.config", "Digest of the configuration", base.HEX),
  facts = ProtoField.uint64("steadfast.digest.facts", "Digest of the facts", base.HEX),
  ports = ProtoField.uint64("steadfast.digest.interfaces", "Digest of the interfaces", base.HEX),
  release = ProtoField.uint32("steadfast.release", "Software version", base.HEX),
  more = ProtoField.bytes("steadfast.more", "Later fields"),
  mac_port = ProtoField.uint8("steadfast.mac.port", "Port"),
  mac = ProtoField.ether("steadfast.mac", "MAC"),
  echo_node = ProtoField.uint8("steadfast.echo.node", "Of node"),
  echo_boot = ProtoField.uint64("steadfast.echo.boot", "Boot id", base.HEX),
  echo_challenge = ProtoField.uint64("steadfast.echo.challenge", "Challenge", base.HEX),
  echo_response = ProtoField.uint64("steadfast.echo.response", "Response", base.HEX),
  heard_path = ProtoField.uint8("steadfast.heard.path", "Heard on path"),
  heard_counter = ProtoField.uint64("steadfast.heard.counter", "Newest counter"),
  grant_node = ProtoField.uint8("steadfast.grant.node", "To node"),
  grant_boot = ProtoField.uint64("steadfast.grant.boot", "Boot id", base.HEX),
  grant_counter = ProtoField.uint64("steadfast.grant.counter", "From its message"),
  grant_term = ProtoField.uint32("steadfast.grant.term", "Term (us)"),
  wait_node = ProtoField.uint8("steadfast.wait.node", "Heard of node"),
  wait_path = ProtoField.uint8("steadfast.wait.path", "On path"),
  wait_time = ProtoField.uint32("steadfast.wait.time", "Ago (us)"),
  certificate = ProtoField.uint64("steadfast.certificate", "SHA-256 begins with", base.HEX),
  unknown = ProtoField.bytes("steadfast.list", "Unknown list"),
  tag = ProtoField.bytes("steadfast.tag", "Tag"),
}

local bits = {
  { 0x01, "witnessed" }, { 0x02, "uninterrupted" }, { 0x04, "fence_whole" },
  { 0x08, "reception" }, { 0x10, "eligible" }, { 0x20, "maintenance" },
  { 0x40, "preferred" }, { 0x80, "commanded" }, { 0x100, "hears_active" },
  { 0x200, "asks_grant" }, { 0x400, "granted" },
}
local all = {}
for _, field in pairs(f) do all[#all + 1] = field end
for _, bit in ipairs(bits) do
  f[bit[2]] = ProtoField.bool("steadfast.flags." .. bit[2], bit[2], 16, nil, bit[1])
  all[#all + 1] = f[bit[2]]
end
steadfast.fields = all

local malformed = ProtoExpert.new("steadfast.malformed", "Contradicts itself",
  expert.group.MALFORMED, expert.severity.ERROR)
steadfast.experts = { malformed }

-- Name, offset and length of the fixed fields, from the EtherType on.
local FIXED = {
  { "version", 0, 1 }, { "mark", 1, 1 }, { "kind", 2, 1 }, { "key", 3, 1 }, { "length", 4, 2 },
  { "groups", 6, 4 }, { "cluster", 10, 16 }, { "router", 26, 1 }, { "node", 27, 1 },
  { "path", 28, 1 }, { "priority", 29, 1 }, { "fixed", 30, 2 }, { "configured", 32, 1 },
  { "role", 33, 1 }, { "boot", 34, 8 }, { "counter", 42, 8 }, { "epoch", 50, 8 },
  { "handover", 58, 8 }, { "ports_down", 66, 4 }, { "interval", 70, 4 }, { "lease", 74, 4 },
  { "flags", 78, 2 }, { "health", 80, 1 }, { "config", 82, 8 }, { "facts", 90, 8 },
  { "ports", 98, 8 }, { "release", 106, 4 },
}
local FIXED_LEN, TAG_LEN, MAC_LEN, ECHO_LEN, HEARD_LEN, WAIT_LEN = 110, 16, 7, 25, 9, 6
local CERTIFICATE_LEN = 8
local GRANT_LEN = 21

local function macs(tree, list)
  for at = 0, list:len() - MAC_LEN, MAC_LEN do
    tree:add(f.mac_port, list(at, 1))
    tree:add(f.mac, list(at + 1, 6))
  end
end

local function echo(tree, list)
  tree:add(f.echo_node, list(0, 1))
  tree:add(f.echo_boot, list(1, 8))
  tree:add(f.echo_challenge, list(9, 8))
  tree:add(f.echo_response, list(17, 8))
  for at = ECHO_LEN, list:len() - HEARD_LEN, HEARD_LEN do
    tree:add(f.heard_path, list(at, 1))
    tree:add(f.heard_counter, list(at + 1, 8))
  end
end

local function grant(tree, list)
  tree:add(f.grant_node, list(0, 1))
  tree:add(f.grant_boot, list(1, 8))
  tree:add(f.grant_counter, list(9, 8))
  tree:add(f.grant_term, list(17, 4))
end

local function waits(tree, list)
  for at = 0, list:len() - WAIT_LEN, WAIT_LEN do
    tree:add(f.wait_node, list(at, 1))
    tree:add(f.wait_path, list(at + 1, 1))
    tree:add(f.wait_time, list(at + 2, 4))
  end
end

local function lists(tree, buffer, at, stop)
  while at < stop do
    if at + 3 > stop then return false end
    local kind, length = buffer(at, 1):uint(), buffer(at + 1, 2):uint()
    if at + 3 + length > stop then return false end
    local whole = buffer(at, 3 + length)
    local list = length > 0 and buffer(at + 3, length) or nil
    if kind == 1 and length % MAC_LEN == 0 then
      local branch = tree:add(steadfast, whole, "MACs of the sender's ports")
      if list then macs(branch, list) end
    elseif kind == 2 and length >= ECHO_LEN and (length - ECHO_LEN) % HEARD_LEN == 0 then
      local name = "Echo of node " .. list(0, 1):uint()
      echo(tree:add(steadfast, whole, name), list)
    elseif kind == 3 and length >= GRANT_LEN then
      local name = "Grant to node " .. list(0, 1):uint()
      grant(tree:add(steadfast, whole, name), list)
    elseif kind == 4 and length % WAIT_LEN == 0 then
      local branch = tree:add(steadfast, whole, "How long what was heard has waited")
      if list then waits(branch, list) end
    elseif kind == 5 and length >= CERTIFICATE_LEN then
      local branch = tree:add(steadfast, whole, "Certificate that clients see")
      branch:add(f.certificate, list(0, CERTIFICATE_LEN))
    elseif kind >= 1 and kind <= 5 then
      return false
    else
      tree:add(f.unknown, whole)
    end
    at = at + 3 + length
  end
  return true
end

function steadfast.dissector(buffer, pinfo, root)
  pinfo.cols.protocol = "STEADFAST"
  local tree = root:add(steadfast, buffer())
  if buffer:len() < FIXED_LEN + TAG_LEN or buffer(0, 1):uint() ~= 1 then
    tree:add_proto_expert_info(malformed, "Too short, or of another version")
    return
  end
  for _, field in ipairs(FIXED) do
    local item = tree:add(f[field[1]], buffer(field[2], field[3]))
    if field[1] == "flags" then
      for _, bit in ipairs(bits) do item:add(f[bit[2]], buffer(field[2], 2)) end
    end
  end
  local kind = kinds[buffer(2, 1):uint()] or "?"
  local role = effective[buffer(33, 1):uint()] or "?"
  local node, epoch = buffer(27, 1):uint(), buffer(50, 8):uint64():tonumber()
  pinfo.cols.info = string.format("%s of node %d, %s, epoch %d", kind, node, role, epoch)
  tree:append_text(", " .. kind .. " of node " .. node)
  local total, fixed = buffer(4, 2):uint(), buffer(30, 2):uint()
  local stop = total - TAG_LEN
  if total > buffer:len() or fixed < FIXED_LEN or fixed > stop then
    tree:add_proto_expert_info(malformed, "Its lengths contradict each other")
    return
  end
  if fixed > FIXED_LEN then tree:add(f.more, buffer(FIXED_LEN, fixed - FIXED_LEN)) end
  if not lists(tree, buffer, fixed, stop) then
    tree:add_proto_expert_info(malformed, "A list contradicts its length")
  end
  tree:add(f.tag, buffer(stop, TAG_LEN))
end

DissectorTable.get("ethertype"):add(0x88b5, steadfast)
DissectorTable.get("udp.port"):add(6973, steadfast)

-- Notes between the frames: packets without bytes, link type USER0, whose comment is the text.
local note = Proto("steadfast_note", "Steadfast note")
local comment = Field.new("frame.comment")
function note.dissector(buffer, pinfo, root)
  pinfo.cols.protocol = "NOTE"
  local text = comment()
  if text then pinfo.cols.info = tostring(text) end
end
DissectorTable.get("wtap_encap"):add(wtap.USER0, note)
