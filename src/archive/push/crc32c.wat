;; Most of a CRC-32C without its tables: a long input is folded into one of 5338 bytes at most that has the same checksum.
;;
;; A checksum stays what it is when a multiple of its polynomial is added to the message. 1 + x^2751 + x^4508 + x^5275 is a multiple of CRC-32C's, and of so
;; few terms the shortest. Its eighth power is one too, and has the same form in x^8, since over GF(2) squaring squares each term. With it, a byte is cleared
;; by adding it to the bytes that lie 767, 2524 and 5275 behind it. Sixteen bytes at a time make four loads, three exclusive-ors and a store, and no
;; multiplication of polynomials, which WebAssembly has not.
;;
;; crc32c-module.ts holds this module's bytes; `node scripts/assemble-wasm.ts` makes them, and a test holds the two together.
(module
  ;; The memory that page-checksum.wat works in.
  (import "walkback" "memory" (memory 1 65536 shared))

  ;; Folds the $sizeBytes bytes from $from on. What is left is put at $room, and the checksum of the input is that of what is left, from a state of 0.
  ;; $state: of the register before the input. Up to 15 bytes behind the input are read and have no effect.
  ;;
  ;; The room, of 76160 bytes: what is left (5344 bytes), the last 5280 bytes that were cleared before this round, and 64 KiB of those of the round.
  (func (export "fold") (param $from i32) (param $sizeBytes i32) (param $room i32) (param $state i32) (result i32)
    (local $cleared i32) (local $round i32) (local $end i32) (local $left i32)
    (local.set $cleared (i32.add (local.get $room) (i32.const 10624)))
    (memory.fill (i32.sub (local.get $cleared) (i32.const 5280)) (i32.const 0) (i32.const 5280))
    ;; The register is added to the first four bytes: as if these had been cleared 5275 bytes earlier.
    (i32.store (i32.sub (local.get $cleared) (i32.const 5275)) (local.get $state))
    (block $folded
      (loop $rounds
        (br_if $folded (i32.lt_u (local.get $sizeBytes) (i32.const 5339)))
        ;; Whole runs of 64 bytes, so many that 5275 bytes stay behind them.
        (local.set $round (i32.and (i32.sub (local.get $sizeBytes) (i32.const 5275)) (i32.const -64)))
        (if (i32.gt_u (local.get $round) (i32.const 65536)) (then (local.set $round (i32.const 65536))))
        (call $clear (local.get $from) (i32.add (local.get $from) (local.get $round)) (local.get $cleared))
        (local.set $from (i32.add (local.get $from) (local.get $round)))
        (local.set $sizeBytes (i32.sub (local.get $sizeBytes) (local.get $round)))
        (memory.copy
          (i32.sub (local.get $cleared) (i32.const 5280))
          (i32.sub (i32.add (local.get $cleared) (local.get $round)) (i32.const 5280))
          (i32.const 5280))
        (br $rounds)))
    (memory.fill (local.get $cleared) (i32.const 0) (i32.const 5344))
    (local.set $end (i32.add (local.get $cleared) (local.get $sizeBytes)))
    (local.set $left (local.get $room))
    (loop $vectors
      (v128.store (local.get $left)
        (v128.xor
          (v128.xor (v128.load (local.get $from)) (v128.load (i32.sub (local.get $cleared) (i32.const 5275))))
          (v128.xor (v128.load (i32.sub (local.get $cleared) (i32.const 2524))) (v128.load (i32.sub (local.get $cleared) (i32.const 767))))))
      (local.set $from (i32.add (local.get $from) (i32.const 16)))
      (local.set $left (i32.add (local.get $left) (i32.const 16)))
      (br_if $vectors (i32.lt_u (local.tee $cleared (i32.add (local.get $cleared) (i32.const 16))) (local.get $end))))
    (local.get $sizeBytes))

  ;; Clears the bytes from $from to $end, a multiple of 64, and keeps them at $cleared as they were when they were cleared.
  (func $clear (param $from i32) (param $end i32) (param $cleared i32)
    (local $earlier i32)
    ;; So that every distance is an offset of a load: 5280 - 5275, 5280 - 2524, 5280 - 767.
    (local.set $earlier (i32.sub (local.get $cleared) (i32.const 5280)))
    (loop $runs
      (v128.store offset=5280 (local.get $earlier)
        (v128.xor
          (v128.xor (v128.load (local.get $from)) (v128.load offset=5 (local.get $earlier)))
          (v128.xor (v128.load offset=2756 (local.get $earlier)) (v128.load offset=4513 (local.get $earlier)))))
      (v128.store offset=5296 (local.get $earlier)
        (v128.xor
          (v128.xor (v128.load offset=16 (local.get $from)) (v128.load offset=21 (local.get $earlier)))
          (v128.xor (v128.load offset=2772 (local.get $earlier)) (v128.load offset=4529 (local.get $earlier)))))
      (v128.store offset=5312 (local.get $earlier)
        (v128.xor
          (v128.xor (v128.load offset=32 (local.get $from)) (v128.load offset=37 (local.get $earlier)))
          (v128.xor (v128.load offset=2788 (local.get $earlier)) (v128.load offset=4545 (local.get $earlier)))))
      (v128.store offset=5328 (local.get $earlier)
        (v128.xor
          (v128.xor (v128.load offset=48 (local.get $from)) (v128.load offset=53 (local.get $earlier)))
          (v128.xor (v128.load offset=2804 (local.get $earlier)) (v128.load offset=4561 (local.get $earlier)))))
      (local.set $earlier (i32.add (local.get $earlier) (i32.const 64)))
      (br_if $runs (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 64))) (local.get $end))))))
