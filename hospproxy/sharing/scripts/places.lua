-- One exchange of slots at HOSP: a worker reports the slots that it holds and needs, and takes some or gives some back.
-- KEYS: head, places, members, breaker. ARGV from 3 on: member, keep, need, opinion, ceiling, live_ms, linger_ms, settle_ms,
-- vanished_ms, turn_ms, channel, breaker's state ('' if unknown), its age in ms, leaving, base, alone, patience_ms, the dead
-- member whose base it has inherited (or ''), names of the members that it knew before.
--
-- places holds for each member "quota need opinion seen dead got base alone epoch", and under ":life" "epoch since held". It is
-- one key, so an eviction removes all of it, and then all members report again what they hold. Base: the slots that a member may
-- use when it has not reached Redis for long, whatever its quota. Alone: 1: it may have missed the last reply; 2: it has an heir.
local epoch, me = ARGV[1], ARGV[3]
local keep, need, opinion, ceiling = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local live_ms, linger_ms, settle_ms = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local vanished_ms, turn_ms, channel = tonumber(ARGV[11]), tonumber(ARGV[12]), ARGV[13]
local leaving, said, alone = ARGV[16] == '1', tonumber(ARGV[17]), tonumber(ARGV[18])
local patience_ms, heir_of = tonumber(ARGV[19]), ARGV[20]

local all, life, since, held, gone = {}, nil, nil, nil, {}
-- More members than there can be workers, or another type: the key was filled by hand.
local many = redis.pcall('HLEN', KEYS[2])
local broken = type(many) ~= 'number' or many > 1000
local raw = broken and {} or redis.call('HGETALL', KEYS[2])
for i = 1, #raw, 2 do
  if raw[i] == ':life' then
    life, since, held = string.match(raw[i + 1], '^(%S+) (%d+) (-?%d+)$')
    -- A moment is later than now only if this server's clock was set back.
    since, held = since and math.min(now, tonumber(since)), tonumber(held)
  else
    local q, n, o, s, d, g, b, a, of =
      string.match(raw[i + 1], '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) ([012]) (%S+)$')
    if q then
      all[raw[i]] = { quota = tonumber(q), need = tonumber(n), opinion = tonumber(o), seen = math.min(now, tonumber(s)),
        dead = math.min(now, tonumber(d)), got = math.min(now, tonumber(g)), base = tonumber(b), alone = tonumber(a),
        of = of }
    else broken = true end
  end
end
if broken or not since then
  if #raw > 0 or broken then redis.call('DEL', KEYS[2]) end
  all, life = {}, nil
end
-- A new epoch: only the members that have reported are known to use slots. Until all former holders have come back, no more
-- slots are given out than the returned members hold (held). held is -1 once all slots are accounted for.
if life ~= epoch then life, since, held = epoch, now, 0 end

local mine = all[me]
if not mine or mine.of ~= epoch then
  mine = { quota = keep, need = 0, got = 0 }
  if held >= 0 then
    held = held + keep
    for i = 21, #ARGV do
      if not all[ARGV[i]] then
        all[ARGV[i]] = { quota = 0, need = 0, opinion = 0, seen = now, dead = 0, got = 0, base = 0, alone = 0,
          of = '?' }
      end
    end
  end
end
all[me] = mine
local before, short_before = math.max(mine.quota, keep), mine.need > mine.quota
-- Slots that it does not keep are given up for good, even if it was given more since.
mine.quota, mine.need, mine.opinion, mine.seen, mine.dead, mine.of = keep, need, opinion, now, 0, epoch
mine.base, mine.alone = said, alone

-- A worker that succeeds a dead one inherits its base; nobody else may have it. The dead worker's requests may still fill it.
local before_me = all[heir_of]
if before_me and before_me.alone ~= 2 then
  before_me.quota = math.max(before_me.quota, before_me.base, said)
  before_me.base, before_me.alone = 0, 2
  if before_me.dead == 0 then before_me.dead = now end
  if before_me.of ~= epoch and held >= 0 then held = held + before_me.quota end
end

-- A dead member's slots stay reserved until HOSP must be done with its requests; its base is reserved for longer, for an heir that
-- may be unable to reach Redis. A member that has just reported is not dead, even if the list of members was evicted.
local missing, freed = 0, false
for name, one in pairs(all) do
  if name ~= me and one.alone ~= 2 and one.of ~= '?' and now - one.seen >= live_ms then
    if redis.pcall('HEXISTS', KEYS[3], name) ~= 0 then
      one.dead = 0
    elseif one.dead == 0 then
      one.dead = now
    end
  end
  local lingered = one.dead > 0 and now - one.dead >= linger_ms
  if lingered and one.quota > 0 then one.quota, freed = 0, true end
  if lingered and (one.base == 0 or now - one.seen >= vanished_ms) or one.of ~= epoch and now - since >= vanished_ms then
    all[name], freed = nil, true
    gone[#gone + 1] = name
  elseif one.of ~= epoch then
    missing = missing + 1
  end
end
if held >= 0 and missing == 0 and now - since >= settle_ms then held = -1 end

-- The base: a fair share. It grows only by what others are known to have given up, and shrinks only once its owner reports less
-- (the owner may miss this reply): the sum of the bases that members believe they have is never above the ceiling.
local base = said
if held < 0 and not leaving then
  local others, number, rank = 0, 0, 0
  for name, one in pairs(all) do
    if name ~= me then others = others + one.base end
    if one.dead == 0 then number, rank = number + 1, rank + (name < me and 1 or 0) end
  end
  local fair = math.floor(ceiling / number) + (rank < ceiling % number and 1 or 0)
  local free = math.max(0, ceiling - others)
  base = said > fair and fair or math.max(said, math.min(fair, free))
  -- If the predecessor is no longer listed, another member may have its base by now.
  if heir_of ~= '' and not before_me then base = math.min(base, free) end
  mine.base = math.max(said, base)
end

-- Slots are shared among the members that receive their replies. The others keep theirs, and may come to use their base.
local limit, owned, absent, mine_alone, bases, live, sharers = ceiling, mine.quota, 0, 0, 0, {}, {}
for name, one in pairs(all) do
  if one.of == epoch or one.alone == 2 then
    local here = now - one.seen < live_ms and one.alone ~= 2
    bases = bases + one.base
    if here then
      live[#live + 1] = name
      limit = math.min(limit, one.opinion)
    end
    if here and one.alone == 0 then
      sharers[#sharers + 1] = name
      if name ~= me then owned = owned + one.quota end
    else
      local most = math.max(one.quota, one.base)
      absent = absent + most
      if name == me then mine_alone = most - one.quota else owned = owned + most end
    end
  end
end
-- By then every member is down to its base in a new epoch, those that have not come back included.
if held >= 0 and now - since >= patience_ms then held = math.max(held, bases) end
local top = held < 0 and limit or math.min(limit, held)

-- First distribute slots evenly, up to each member's need; if there are too few, the member that has waited longest comes first.
-- The rest goes one by one to the member with the fewest.
local share, left = {}, math.max(0, top - absent)
table.sort(live)
table.sort(sharers)
local order = {}
for i, name in ipairs(sharers) do order[i], share[name] = name, 0 end
table.sort(order, function(a, b)
  if all[a].got ~= all[b].got then return all[a].got < all[b].got end
  return a < b
end)
while left > 0 and #order > 0 do
  local further = {}
  for _, name in ipairs(order) do
    if left > 0 and share[name] < all[name].need then
      share[name], left = share[name] + 1, left - 1
      further[#further + 1] = name
    end
  end
  order = further
end
while left > 0 and #sharers > 0 do
  local least = sharers[1]
  for _, name in ipairs(sharers) do
    if share[name] < share[least] then least = name end
  end
  share[least], left = share[least] + 1, left - 1
end
-- While there may not be enough slots for what absent members may come to use, no member uses more than its base for new requests:
-- so all are down to their bases when the absent ones use theirs.
if held >= 0 or owned + mine_alone > ceiling then
  for _, name in ipairs(sharers) do share[name] = math.min(share[name], all[name].base) end
end
if alone == 1 then share[me] = mine.base end

mine.quota = math.max(keep, math.min(share[me], keep + math.max(0, top - owned)))
if mine.quota > before then mine.got = now end

local wake = false
for _, name in ipairs(sharers) do
  local one = all[name]
  if name ~= me and one.quota < share[name] and (freed or mine.quota < before) then wake = true end
end
-- Other members may have free slots that this one needs.
if mine.quota < math.min(need, share[me]) and not short_before then wake = true end

-- The breaker: the latest observation counts.
local known = redis.pcall('HMGET', KEYS[4], 'state', 'at')
if known.err then
  redis.call('DEL', KEYS[4])
  known = {}
end
local state, at = known[1] or '', tonumber(known[2] or '')
if not at or not (at <= now) then state, at = '', 0 end
if ARGV[14] ~= '' and ARGV[14] ~= state and (state ~= '' or ARGV[14] ~= 'closed') and now - ARGV[15] > at then
  state, at, wake = ARGV[14], now - ARGV[15], true
  redis.call('HSET', KEYS[4], 'state', state, 'at', string.format('%.0f', at), 'by', me)
  redis.call('PEXPIRE', KEYS[4], 3600000)
end

if leaving and keep == 0 and said == 0 then
  wake, all[me] = wake or mine.quota > 0, nil
  gone[#gone + 1] = me
end
local function text(one)
  return string.format('%.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %s', one.quota, one.need, one.opinion, one.seen, one.dead,
    one.got, one.base, one.alone, one.of)
end
local rows = { ':life', string.format('%s %.0f %.0f', life, since, held) }
local names, rank = {}, 0
for name, one in pairs(all) do
  rows[#rows + 1], rows[#rows + 2] = name, text(one)
  if name ~= me and (one.quota > 0 or one.base > 0 or one.of ~= epoch) then names[#names + 1] = name end
end
for i, name in ipairs(live) do
  if name == me then rank = i - 1 end
end
if #gone > 0 then redis.call('HDEL', KEYS[2], unpack(gone)) end
redis.call('HSET', KEYS[2], unpack(rows))
-- Longer than any entry is needed: every member that holds slots renews it.
redis.call('PEXPIRE', KEYS[2], vanished_ms + linger_ms + 60000)
if wake then redis.call('PUBLISH', channel, 'p') end
local turn = (rank - math.floor(now / turn_ms)) % #live
return { 'ok', mine.quota, share[me], limit, #live, turn, state, now - at, base, unpack(names) }
